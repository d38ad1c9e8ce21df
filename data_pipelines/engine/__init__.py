"""Who runs the tasks of a build: this process, a pool of processes, a Ray cluster, or SLURM."""
