"""What a run leaves behind: one directory that can be judged again later, without any system."""
