"""What becomes of text before it is tokenised: cleaned, cut, told apart, split."""
