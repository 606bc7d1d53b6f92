"""Lists and downloads the published files of a configuration; downloads resume and are verified."""
