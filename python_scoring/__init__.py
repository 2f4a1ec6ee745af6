"""The scheduled job of leadlight: trains, scores and writes back; SQL owns the metrics."""
