myco_fuzz(frame LAYERS wire)
