"""Heads taught on, domain after domain, without losing what they knew: what is trained, rehearsed and held."""
