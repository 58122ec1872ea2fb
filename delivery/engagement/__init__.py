"""Opens and clicks: who sees them, how our own are seen, and what is concluded. docs/engagement.md"""
