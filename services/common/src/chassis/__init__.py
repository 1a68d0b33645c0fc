"""What every Python service and its command line share. Import the modules: this one imports nothing."""
