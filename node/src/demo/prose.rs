//! Some plain English: what a pretrained base reads easily, and should go on reading easily.

pub const TEXTS: [&str; 8] = [
    "The harbour lies at the mouth of the river, where the water is deep enough for ships at any tide. In the morning \
     the fishing boats come in, one after the other, and the market on the quay is open before the sun is up. By noon \
     the nets hang drying along the wall and the only sound is that of the gulls.",
    "To make bread you need flour, water, salt and yeast. Mix them in a large bowl until no dry flour is left, cover the \
     bowl with a cloth and let it stand in a warm place for an hour. When the dough has doubled in size, fold it a few \
     times, shape it into a loaf and bake it until the crust is brown.",
    "A library is more than a building full of books. It is a place where people can read without being asked to buy \
     anything, where children do their homework in the afternoon, and where somebody at the desk knows how to find out \
     what nobody else in town can tell you.",
    "The moon has no light of its own. What we see is sunlight that its surface reflects, and because the moon travels \
     around the earth once a month, we see now more and now less of the half on which the sun shines. When the earth \
     stands between the two, its shadow falls on the moon and there is an eclipse.",
    "She had walked the same road every day for thirty years, and still there was something new to see each time: a \
     fence that had been painted, a dog that she had not met before, a window with other curtains. On the day when the \
     road was closed she noticed that she did not know the way around it.",
    "Trains changed how people thought of time. Before there were railways, every town set its clocks by its own noon, \
     and a few minutes more or less did not matter to anybody. But a timetable needs one time for the whole line, and \
     within a generation whole countries had agreed on what hour it was.",
    "If you want to learn to play an instrument, practise a little every day rather than for many hours once a week. The \
     fingers remember what they have done often, not what they have done long. Play slowly enough that you make no \
     mistakes, and only then a little faster.",
    "Forests hold water like a sponge. Rain that falls on bare ground runs off at once and takes the soil with it, but \
     under trees it sinks in between roots and leaves, and comes out again in springs and brooks weeks later. That is \
     why rivers from wooded hills rise slowly after a storm and do not run dry in summer.",
];
