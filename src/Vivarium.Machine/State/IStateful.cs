namespace Vivarium.Machine.State;

/// <summary>A part of a machine that can write and read its state as one section of a saved machine. Called while the machine is quiet: no hart
/// runs, and no host thread of a device works.</summary>
public interface IStateful
{
    /// <summary>Names the section; unique within a machine (<c>uart0</c>, <c>plic</c>, <c>virtio-blk@3</c>).</summary>
    string SectionName { get; }

    /// <summary>The layout that <see cref="Save"/> writes; counted up when it changes. <see cref="StateReader.Version"/> hands it back.</summary>
    int SectionVersion => 1;

    void Save(StateWriter writer);

    /// <summary>Takes over a saved state.</summary>
    /// <exception cref="StateException">The section is damaged, or does not fit this machine.</exception>
    void Load(StateReader reader);
}

/// <summary>A saved state that cannot be used; the message says what does not fit.</summary>
public sealed class StateException(string message) : Exception(message);
