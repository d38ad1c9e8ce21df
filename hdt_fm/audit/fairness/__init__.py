"""For whom a model is worse: gaps between cells of people, beside floors and chance, before and after fine-tuning."""
