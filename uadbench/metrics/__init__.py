"""Pure functions that score images and maps; nothing here knows a model or a cohort."""
