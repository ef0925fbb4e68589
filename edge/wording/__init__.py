"""The house's own words: topics and payloads of results by templates, or as CloudEvents."""
