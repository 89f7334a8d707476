"""Scripts for installing, documenting and operating; none of them is part of the product."""
