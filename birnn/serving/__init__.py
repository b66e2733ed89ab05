"""Answers for those who need them now, and a record of what was answered; see docs/serving.md."""
