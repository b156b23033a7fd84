"""Revision -> event, stored rejection -> message: bodies and headers; pure."""
