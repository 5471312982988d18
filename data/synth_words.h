// Words of the synthetic shop. Private to data/.
#pragma once

#include <array>
#include <string_view>

namespace mixrec::data {

struct CategoryWords {
  std::string_view name;
  std::array<std::string_view, 3> nouns;
};

struct DepartmentWords {
  std::string_view name;
  std::array<CategoryWords, 4> categories;
  std::array<std::string_view, 4> adjectives;
  std::array<std::string_view, 4> materials;
};

inline constexpr std::array<DepartmentWords, 8> kDepartments{{
    {"Workshop",
     {{{"Fasteners", {"Wood Screws", "Hex Bolts", "Lock Washers"}},
       {"Cutting Tools", {"Drill Bits", "Saw Blades", "End Mills"}},
       {"Abrasives", {"Sanding Discs", "Grinding Wheels", "Polishing Pads"}},
       {"Measuring", {"Calipers", "Dial Gauges", "Steel Rulers"}}}},
     {"Heavy Duty", "Precision", "Self Locking", "Corrosion Resistant"},
     {"Stainless Steel", "Carbide", "Zinc Plated", "High Speed Steel"}},
    {"Laboratory",
     {{{"Glassware", {"Beakers", "Flasks", "Test Tubes"}},
       {"Liquid Handling", {"Pipettes", "Syringes", "Droppers"}},
       {"Microscopy", {"Slides", "Cover Slips", "Stains"}},
       {"Filtration", {"Filter Papers", "Funnels", "Membranes"}}}},
     {"Graduated", "Sterile", "Autoclavable", "Disposable"},
     {"Borosilicate", "Polypropylene", "Quartz", "Cellulose"}},
    {"Kitchen",
     {{{"Cookware", {"Saucepan", "Frying Pan", "Stock Pot"}},
       {"Bakeware", {"Cake Tin", "Muffin Tray", "Rolling Pin"}},
       {"Cutlery", {"Chef Knife", "Bread Knife", "Paring Knife"}},
       {"Storage", {"Spice Jars", "Lunch Box", "Canisters"}}}},
     {"Nonstick", "Dishwasher Safe", "Stackable", "Classic"},
     {"Cast Iron", "Copper", "Bamboo", "Enamel"}},
    {"Garden",
     {{{"Hand Tools", {"Trowel", "Pruning Shears", "Weeder"}},
       {"Watering", {"Garden Hose", "Sprinkler", "Watering Can"}},
       {"Seeds", {"Tomato Seeds", "Lavender Seeds", "Basil Seeds"}},
       {"Planters", {"Hanging Basket", "Window Box", "Clay Pot"}}}},
     {"Frost Proof", "Organic", "Ergonomic", "Long Reach"},
     {"Terracotta", "Ash Wood", "Rubber", "Galvanised"}},
    {"Music",
     {{{"Guitar", {"Acoustic Strings", "Guitar Capo", "Guitar Picks"}},
       {"Drums", {"Drum Sticks", "Snare Head", "Cymbal Felt"}},
       {"Recording", {"Condenser Microphone", "Pop Filter", "Audio Interface"}},
       {"Keyboards", {"Sustain Pedal", "Keyboard Stand", "Dust Cover"}}}},
     {"Studio", "Vintage", "Bright Tone", "Low Noise"},
     {"Phosphor Bronze", "Maple", "Nickel", "Mahogany"}},
    {"Office",
     {{{"Writing", {"Gel Pens", "Fountain Pen", "Highlighters"}},
       {"Paper", {"Notebook", "Index Cards", "Sticky Notes"}},
       {"Filing", {"Ring Binder", "Expanding File", "Label Holders"}},
       {"Desk", {"Desk Organiser", "Letter Tray", "Tape Dispenser"}}}},
     {"Quick Dry", "College Ruled", "Refillable", "Slim"},
     {"Recycled", "Leather", "Acrylic", "Kraft"}},
    {"Outdoor",
     {{{"Camping", {"Dome Tent", "Sleeping Bag", "Camp Stove"}},
       {"Hiking", {"Trekking Poles", "Daypack", "Water Bladder"}},
       {"Climbing", {"Carabiners", "Climbing Rope", "Chalk Bag"}},
       {"Cycling", {"Bike Pump", "Inner Tubes", "Chain Lube"}}}},
     {"Ultralight", "Waterproof", "Four Season", "Compact"},
     {"Ripstop", "Aluminium", "Merino", "Titanium"}},
    {"Pets",
     {{{"Dogs", {"Dog Leash", "Chew Toy", "Dog Bed"}},
       {"Cats", {"Scratching Post", "Cat Litter", "Catnip Mouse"}},
       {"Fish", {"Aquarium Filter", "Fish Flakes", "Gravel"}},
       {"Birds", {"Bird Feeder", "Millet Spray", "Cage Perch"}}}},
     {"Washable", "Grain Free", "Quiet", "Indestructible"},
     {"Hemp", "Plush", "Sisal", "Natural"}},
}};

inline constexpr std::array<std::string_view, 24> kSyllables{
    "ve",  "lo",  "ra", "kin", "dor", "mi",  "tas", "el",  "bru", "no", "zan", "qui",
    "hal", "per", "su", "ton", "ga",  "fel", "or",  "wyn", "cas", "ju", "lem", "ix"};

inline constexpr std::array<std::string_view, 8> kVariants{
    "Pack of 4", "Pack of 12", "Small", "Large", "Black", "Blue", "12 Inch", "1/2 Inch"};

}  // namespace mixrec::data
