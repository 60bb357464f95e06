//! Nothing that was answered is lost, nothing leaves twice, what waits arrives in its order:
//! under loss, partitions, and restarts of either side.
