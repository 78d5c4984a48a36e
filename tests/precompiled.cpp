// Nothing: it gives the precompiled header of all tests a target to belong to.
