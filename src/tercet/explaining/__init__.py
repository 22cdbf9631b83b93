"""Why a document came, why another one did not, and what made the difference: parts that add up to the scores."""
