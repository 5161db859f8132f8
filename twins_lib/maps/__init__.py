"""Where a token looks: exact maps of both attentions, their figures, and a page to click in (lesson 07)."""
