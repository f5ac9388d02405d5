"""Models of others that spiking networks are compared with, one a file, written anew from their papers."""
