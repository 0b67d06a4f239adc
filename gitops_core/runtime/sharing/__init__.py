"""What all objects share: CPU time, places at a host, answers that several ask for at once; nobody takes it all."""
