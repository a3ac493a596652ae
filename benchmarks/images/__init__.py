"""Any image at constant cost: time, error and memory of glimpses, by size of the image."""
