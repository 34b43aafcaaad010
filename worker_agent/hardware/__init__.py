"""What this machine is: devices, sizes, and the class of bits it computes."""
