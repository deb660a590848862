"""What any program needs: files, locks, memory, threads, profiling, timeouts, progress, text."""
