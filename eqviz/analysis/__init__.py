"""From networks and orbit statistics to tidy tables: accuracy, symmetry by layer, summaries over seeds."""
