myco_test(net_link LAYERS net)
