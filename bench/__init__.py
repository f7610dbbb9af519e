"""Speed measurements. The alternatives are measured in the same run, so the results are ratios and not milliseconds."""
