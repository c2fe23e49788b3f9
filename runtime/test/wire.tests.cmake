myco_test(wire_frame LAYERS wire)
