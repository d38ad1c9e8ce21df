"""Who was recorded together: visits of a cohort, one at a time."""
