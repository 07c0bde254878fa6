//! Commands before and after a backup.
