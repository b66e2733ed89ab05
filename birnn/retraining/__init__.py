"""CLOCK: refresh, train, judge, promote or keep, recover, tell."""
