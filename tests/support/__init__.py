"""What tests share: small networks, small data sets, recorded arrays."""
