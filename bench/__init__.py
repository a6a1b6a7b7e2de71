"""Scripts behind the figures in docs/, each run as `python bench/NAME/run.py` where `make install` has been run."""
