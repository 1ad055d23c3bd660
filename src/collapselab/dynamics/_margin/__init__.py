"""What margins, homogeneity and the certificate share."""
