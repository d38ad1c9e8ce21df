"""What an output rests on over many people: subgroups, typical patterns, worst cases, drift; no one told apart."""
