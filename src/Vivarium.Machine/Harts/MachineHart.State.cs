using Vivarium.Machine.State;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Harts;

// A hart's section of a saved machine: registers, CSRs, mode and HSM state. TLB and translated code are made anew.
public sealed unsafe partial class MachineHart : IStateful
{
    /// <inheritdoc/>
    public string SectionName => $"hart{Id}";

    /// <summary>2 adds suspension.</summary>
    public int SectionVersion => 2;

    /// <inheritdoc/>
    public void Save(StateWriter writer)
    {
        ref var state = ref Cpu.State;
        for (var i = 1; i < 32; i++) writer.Write(state.X[i]);
        for (var i = 0; i < 32; i++) writer.Write(state.F[i]);
        writer.Write(state.Pc);
        writer.Write(state.Fflags);
        writer.Write(state.Frm);
        writer.Write(Core.Features.PmpEntries);
        for (var i = 0; i < Core.Features.PmpEntries; i++) writer.Write(Unit.ReadCsr(0x3b0 + i));
        foreach (var csr in PrivilegedUnit.StateCsrs) writer.Write(Unit.ReadCsr(csr));
        writer.Write(Unit.LatchedInterrupts);
        writer.Write((byte)Unit.Mode);
        writer.Write(Unit.WaitsForInterrupt);
        writer.Write((byte)Status);
        var start = _start ?? new StartRequest(0, PrivilegeMode.Supervisor, 0, 0);
        writer.Write(start.Pc);
        writer.Write((byte)start.Mode);
        writer.Write(start.A0);
        writer.Write(start.A1);
        writer.Write(_resumesAtStart);
    }

    /// <inheritdoc/>
    public void Load(StateReader reader)
    {
        reader.RequireVersion(SectionVersion);
        Unit.Reset();
        ref var state = ref Cpu.State;
        for (var i = 1; i < 32; i++) state.X[i] = reader.ReadUInt64();
        for (var i = 0; i < 32; i++) state.F[i] = reader.ReadUInt64();
        (state.Pc, state.Fflags, state.Frm) = (reader.ReadUInt64(), reader.ReadUInt32() & 31, reader.ReadUInt32() & 7);
        state.ReservationAddress = ulong.MaxValue;
        var entries = reader.ReadInt32();
        if (entries != Core.Features.PmpEntries) throw new StateException($"section '{SectionName}' has {entries} PMP entries; this machine has {Core.Features.PmpEntries}");
        for (var i = 0; i < entries; i++) Unit.WriteCsr(0x3b0 + i, reader.ReadUInt64());
        foreach (var csr in PrivilegedUnit.StateCsrs) Unit.WriteCsr(csr, reader.ReadUInt64());
        Unit.LatchedInterrupts = reader.ReadUInt32();
        var mode = reader.ReadByte();
        if (mode is 2 or > 3) throw new StateException($"section '{SectionName}' has no valid privilege mode");
        Unit.RestoreMode((PrivilegeMode)mode);
        Unit.WaitsForInterrupt = reader.ReadBool();
        var status = (HartStatus)reader.ReadByte();
        if (status > HartStatus.StopPending && status != HartStatus.Suspended) throw new StateException($"section '{SectionName}' has no valid hart state");
        _start = new StartRequest(reader.ReadUInt64(), (PrivilegeMode)reader.ReadByte(), reader.ReadUInt64(), reader.ReadUInt64());
        if (_start.Mode is not (PrivilegeMode.Supervisor or PrivilegeMode.Machine)) throw new StateException($"section '{SectionName}' starts in no valid privilege mode");
        _resumesAtStart = reader.Version >= 2 && reader.ReadBool();
        Status = status;
        if (status != HartStatus.Stopped) Launch();
        Wake();
    }
}
