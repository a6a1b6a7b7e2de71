"""Texts of any language as code points → n-grams → features, all of it inside the exported graph."""
