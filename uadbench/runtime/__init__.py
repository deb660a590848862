"""General-purpose modules: files, locks, memory, threads, profiling, timeouts, progress, and text."""
