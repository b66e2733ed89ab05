"""ONE'S OWN REPOSITORY: `birnn init`, from somebody's file to a pipeline that trains on it."""
