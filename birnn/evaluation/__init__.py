"""EVALUATE: metrics, intervals, baselines, checks, verdict, trace."""
