"""A reproduction of DeFusionNET (TPAMI 2020): where is a photograph out of focus?"""
