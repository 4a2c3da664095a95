"""Gateways in: what other makers' programs, clouds and files say, read by declarative profiles."""
