using System.Globalization;
using Vivarium.Host;
using Vivarium.Translation;
using Vivarium.Translation.Cache;

// What translation costs by itself: translates the blocks that a program had, in their order, again and again, with nothing in between.
//   VIV_QUICK=0 viv run --no-cache --dump ir --dump-range 0-7fffffffffff PROGRAM 2>&1 | grep -a ^superblock > heads
// or, for the quick path, without VIV_QUICK=0 and with `quick block` in the place of `superblock`; lines of both sorts may be mixed.
//   translate-cost PROGRAM(static, not relocated) heads [ROUNDS [REPEATS]]
// With COUNT set: how often each guest instruction is translated, and a hash of the code, by which to see that a change left it as it was.
// REPEATS > 1 translates each block that many times in a row: what is left is the cost without cache misses and mispredicted branches.
unsafe
{
    byte[] elf = File.ReadAllBytes(args[0]);
    (ulong Pc, bool Quick)[] heads = [.. File.ReadLines(args[1]).Select(l => l.Split(' ')).Select(w =>
        (ulong.Parse(w[w[0] == "quick" ? 2 : 1].AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture), w[0] == "quick"))];
    int rounds = args.Length > 2 ? int.Parse(args[2], CultureInfo.InvariantCulture) : 5;
    bool count = Environment.GetEnvironmentVariable("COUNT") != null;
    int repeats = args.Length > 3 ? int.Parse(args[3], CultureInfo.InvariantCulture) : 1;
    using MemoryWindow memory = MemoryWindow.Reserve(1UL << 38);
    ulong end = 0;
    int headers = BitConverter.ToInt32(elf, 32), segments = BitConverter.ToInt16(elf, 56);
    for (int i = 0; i < segments; i++)
    {
        ReadOnlySpan<byte> p = elf.AsSpan(headers + i * 56, 56);
        if (BitConverter.ToInt32(p) != 1 || (p[4] & 1) == 0) continue;
        ulong offset = BitConverter.ToUInt64(p[8..]), address = BitConverter.ToUInt64(p[16..]), size = BitConverter.ToUInt64(p[32..]);
        memory.MapAnonymous(address & ~4095UL, size + 8192 & ~4095UL, Protection.Read | Protection.Write);
        memory.Write(address, elf.AsSpan((int)offset, (int)size));
        end = address + size;
    }
    heads = [.. heads.Where(h => h.Pc < end)];
    var seen = new Dictionary<ulong, int>();
    ulong hash = 0;

    // What a change of the translator must not change by accident: the code itself, but for the addresses of exit records.
    void Count(BlockHeader* block)
    {
        for (int i = 0; i < block->RunCount; i++)
            for (ulong pc = block->Runs[i].Start; pc < block->Runs[i].Start + (ulong)block->Runs[i].Length; pc += 2) seen[pc] = seen.GetValueOrDefault(pc) + 1;
        byte[] code = new ReadOnlySpan<byte>((void*)block->Entry, (int)(block->CodeEnd - block->Entry)).ToArray();
        for (int i = 0; i < block->ExitCount; i++)
        {
            int at = code.AsSpan().IndexOf(BitConverter.GetBytes((ulong)(block->Exits + i)));
            if (at >= 0) code.AsSpan(at, 8).Clear();
        }
        foreach (byte b in code) hash = (hash ^ b) * 0x100000001B3;
        for (int i = 0; i < block->FaultCount && block->Counter == null; i++)
        {
            ref FaultPoint f = ref block->Faults[i];
            hash = (hash ^ f.CodeOffset ^ (ulong)(uint)f.PcDelta << 20 ^ (ulong)f.Live << 40 ^ (ulong)f.Pending << 30 ^ f.Float.DirtyD ^ (ulong)f.Float.DirtyS << 32) * 0x100000001B3;
        }
    }
    var options = new TranslationOptions();
    for (int round = 0; round < rounds; round++)
    {
        using var cache = new CodeCache();
        using var arenas = new ArenaSet(cache);
        var table = new BlockTable();
        var translator = new BlockTranslator(cache);
        translator.Use(arenas);
        var statistics = new Statistics();
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        foreach ((ulong head, bool quick) in heads)
        {
            if (table.Find(head) != null) continue; // or has been promoted
            BlockHeader* block = null;
            for (int i = 0; i < repeats; i++)
            {
                if (i != 0) translator.Discard();
                block = quick ? translator.TranslateQuick(memory, head, table, options, statistics) : null;
                if (block == null) block = translator.Translate(memory, head, table, options, statistics);
            }
            if (count && round == 0) Count(block);
            translator.Keep(block);
            table.Add(block);
        }
        double ns = (Environment.CpuUsage.TotalTime - cpu).TotalNanoseconds;
        Console.WriteLine($"{statistics.Blocks} blocks, {statistics.GuestInstructions} instructions, {statistics.HostBytes} bytes: {ns / statistics.GuestInstructions:F1} ns of CPU time per guest instruction, {ns / statistics.Blocks:F0} ns per block");
    }
    if (count) Console.WriteLine($"each guest instruction translated {(double)seen.Values.Sum() / seen.Count:F2} times on average; code {hash:x16}");
}
