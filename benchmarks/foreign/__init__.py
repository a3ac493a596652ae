"""How do agents do in environments of other people?"""
