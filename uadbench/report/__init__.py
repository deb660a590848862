"""Reports: the self-contained HTML page of a result (`page`), and figures of results, comparisons and cohorts."""
