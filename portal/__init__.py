"""Pages for people: plain, without a framework, Chinese first. No page needs the outside."""
