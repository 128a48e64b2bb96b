// Signal handlers and the region table are process-wide.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
