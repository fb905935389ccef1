"""Who is who on the wire: certificates for nodes, and TLS 1.3 between them."""
