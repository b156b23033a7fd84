"""Schemas on disk <-> bytes: what is valid, what bytes mean, what stays readable; the only user of fastavro."""
