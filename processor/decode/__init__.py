"""RawRecord -> reports | rejection: fast, then thorough; pure."""
